import type { PodIdentity } from '../identity.ts';
import type { ContainerRecord, PodRuntime, SandboxRecord } from './pod-runtime.ts';

interface Entry {
  readonly identity: PodIdentity;
  readonly sandboxes: Map<string, SandboxRecord>;
  readonly containers: Map<string, ContainerRecord>;
  /** The table's sequence when this entry was last written by something fresher than a list. */
  touched: number;
  snapshot: PodRuntime | undefined;
}

/** The runtime's sandboxes and containers by pod, with indexes by id; snapshots are made anew only after a change. */
export class PodTable {
  private readonly pods = new Map<string, Entry>();
  private readonly owners = new Map<string, string>();
  private sequence = 0;

  /** A mark in time: what is touched after it is fresher than a list that was asked for at it. */
  mark(): number {
    return ++this.sequence;
  }

  touchedSince(uid: string, mark: number): boolean {
    return (this.pods.get(uid)?.touched ?? 0) > mark;
  }

  uids(): string[] {
    return [...this.pods.keys()];
  }

  /** The pod that a sandbox or container belongs to. */
  ownerOf(id: string): string | undefined {
    return this.owners.get(id);
  }

  sandbox(id: string): SandboxRecord | undefined {
    return this.pods.get(this.owners.get(id) ?? '')?.sandboxes.get(id);
  }

  container(id: string): ContainerRecord | undefined {
    return this.pods.get(this.owners.get(id) ?? '')?.containers.get(id);
  }

  snapshot(uid: string): PodRuntime | undefined {
    const entry = this.pods.get(uid);
    if (entry === undefined) return undefined;
    entry.snapshot ??= {
      ...entry.identity,
      // Attempts before times: they only count up, while a wall clock may be set back.
      sandboxes: [...entry.sandboxes.values()].sort((a, b) => b.attempt - a.attempt || b.createdAt - a.createdAt),
      containers: [...entry.containers.values()].sort(
        (a, b) => b.restartCount - a.restartCount || b.createdAt - a.createdAt,
      ),
    };
    return entry.snapshot;
  }

  ids(uid: string): { readonly sandboxes: string[]; readonly containers: string[] } {
    const entry = this.pods.get(uid);
    return { sandboxes: [...(entry?.sandboxes.keys() ?? [])], containers: [...(entry?.containers.keys() ?? [])] };
  }

  putSandbox(identity: PodIdentity, record: SandboxRecord): void {
    const entry = this.entry(identity);
    entry.sandboxes.set(record.id, record);
    this.changed(entry, record.id);
  }

  putContainer(identity: PodIdentity, record: ContainerRecord): void {
    const entry = this.entry(identity);
    entry.containers.set(record.id, record);
    this.changed(entry, record.id);
  }

  /** Returns the pod that lost the sandbox or container, if any did. */
  drop(id: string): string | undefined {
    const uid = this.owners.get(id);
    const entry = uid === undefined ? undefined : this.pods.get(uid);
    if (uid === undefined || entry === undefined) return undefined;
    this.owners.delete(id);
    entry.sandboxes.delete(id);
    entry.containers.delete(id);
    entry.snapshot = undefined;
    entry.touched = ++this.sequence;
    if (entry.sandboxes.size === 0 && entry.containers.size === 0) this.pods.delete(uid);
    return uid;
  }

  private entry(identity: PodIdentity): Entry {
    let entry = this.pods.get(identity.uid);
    if (entry === undefined) {
      entry = { identity, sandboxes: new Map(), containers: new Map(), touched: 0, snapshot: undefined };
      this.pods.set(identity.uid, entry);
    }
    return entry;
  }

  private changed(entry: Entry, id: string): void {
    this.owners.set(id, entry.identity.uid);
    entry.snapshot = undefined;
    entry.touched = ++this.sequence;
  }
}

import { createHash } from 'node:crypto';
import { CodedError } from '../../kit/errors.ts';
import type { AuthConfig, Image } from './port.ts';

export interface FakeImageOptions {
  readonly id?: string;
  readonly size?: number;
  readonly uid?: number;
  readonly username?: string;
  readonly pinned?: boolean;
  /** In a registry: who may pull. Default: anyone. */
  readonly allows?: (auth: AuthConfig | undefined) => boolean;
}

/** One pull that reached the registry. */
export interface RegistryAccess {
  readonly image: string;
  readonly auth: AuthConfig | undefined;
  readonly atMs: number;
}

interface RegistryImage {
  readonly image: Image;
  readonly allows: (auth: AuthConfig | undefined) => boolean;
}

/** The images on the node, and the registry that they come from. */
export class FakeImages {
  /** What was asked of the registry. */
  readonly accesses: RegistryAccess[] = [];
  private readonly present = new Map<string, Image>();
  private readonly registry = new Map<string, RegistryImage>();

  add(reference: string, options: FakeImageOptions = {}): Image {
    const image = makeImage(normalizeReference(reference), options);
    return this.store(image);
  }

  publish(reference: string, options: FakeImageOptions = {}): void {
    const name = normalizeReference(reference);
    this.registry.set(name, { image: makeImage(name, options), allows: options.allows ?? (() => true) });
  }

  unpublish(reference: string): void {
    this.registry.delete(normalizeReference(reference));
  }

  list(): Image[] {
    return [...this.present.values()];
  }

  /** By id, tag or digest. */
  find(reference: string): Image | undefined {
    const byId = this.present.get(reference) ?? this.present.get(`sha256:${reference}`);
    if (byId !== undefined) return byId;
    const name = normalizeReference(reference);
    return this.list().find((image) => image.repoTags.includes(name) || image.repoDigests.includes(name));
  }

  pull(reference: string, auth: AuthConfig | undefined, atMs: number): Image {
    const name = normalizeReference(reference);
    this.accesses.push({ image: name, auth, atMs });
    const offered = this.registry.get(name);
    const problem = `PullImage ${reference}: failed to pull and unpack image "${name}": failed to resolve reference "${name}"`;
    if (offered === undefined) throw new CodedError('NotFound', `${problem}: ${name}: not found`);
    if (!offered.allows(auth))
      throw new CodedError('Internal', `${problem}: pull access denied, or authorization failed`);
    return this.store(offered.image);
  }

  /** Takes one name away, or with an id the whole image. What is not there is gone already. */
  remove(reference: string): void {
    const image = this.find(reference);
    if (image === undefined) return;
    const name = normalizeReference(reference);
    const tags = image.repoTags.filter((tag) => tag !== name);
    if (reference === image.id || tags.length === 0) this.present.delete(image.id);
    else this.present.set(image.id, { ...image, repoTags: tags });
  }

  private store(image: Image): Image {
    const previous = this.present.get(image.id);
    const merged: Image = {
      ...image,
      repoTags: [...new Set([...(previous?.repoTags ?? []), ...image.repoTags])],
      repoDigests: [...new Set([...(previous?.repoDigests ?? []), ...image.repoDigests])],
    };
    for (const other of this.list()) {
      // A tag points to one image: the newest that was stored under it.
      const left = other.repoTags.filter((tag) => !image.repoTags.includes(tag));
      if (other.id !== image.id && left.length !== other.repoTags.length) {
        this.present.set(other.id, { ...other, repoTags: left });
      }
    }
    this.present.set(image.id, merged);
    return merged;
  }
}

/** "web" → "docker.io/library/web:latest", as containerd reads names (distribution/reference). */
export function normalizeReference(reference: string): string {
  if (/^sha256:[0-9a-f]{64}$/.test(reference)) return reference;
  const slash = reference.indexOf('/');
  const host = slash === -1 ? '' : reference.slice(0, slash);
  const isHost = host === 'localhost' || /[.:]/.test(host);
  const name = isHost ? reference : `docker.io/${slash === -1 ? 'library/' : ''}${reference}`;
  const last = name.slice(name.lastIndexOf('/') + 1);
  return last.includes(':') || last.includes('@') ? name : `${name}:latest`;
}

function makeImage(name: string, options: FakeImageOptions): Image {
  const id = options.id ?? `sha256:${createHash('sha256').update(name).digest('hex')}`;
  const repository = name.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
  const digest = createHash('sha256').update(`manifest of ${name}`).digest('hex');
  return {
    id,
    repoTags: name.includes('@') ? [] : [name],
    repoDigests: [name.includes('@') ? name : `${repository}@sha256:${digest}`],
    size: options.size ?? 1_000_000,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    username: options.username ?? '',
    pinned: options.pinned ?? false,
  };
}

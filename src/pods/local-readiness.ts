import { Emitter, type Unsubscribe } from '../kit/emitter.ts';

/** What this node knows of a pod of its own: takes connections, is being stopped but still answers, takes none. */
export type LocalReadinessState = 'serving' | 'terminating' | 'not-ready';

/**
 * The readiness of this node's pods by pod IP, as their probes and deletions say it, before the API has heard of it. The
 * pod loop is its one writer; Service rules read it through an interface of their own (docs/design.md, "Rooms").
 */
export class LocalReadiness {
  private readonly states = new Map<string, { readonly uid: string; readonly state: LocalReadinessState }>();
  private readonly emitter: Emitter<string>;

  constructor(onError: (error: unknown) => void) {
    this.emitter = new Emitter(onError);
  }

  get(address: string): LocalReadinessState | undefined {
    return this.states.get(address)?.state;
  }

  subscribe(listener: (address: string) => void): Unsubscribe {
    return this.emitter.subscribe(listener);
  }

  set(uid: string, addresses: readonly string[], state: LocalReadinessState): void {
    for (const address of addresses) {
      const known = this.states.get(address);
      if (known?.uid === uid && known.state === state) continue;
      // A pod that has ended keeps its address in its status, while another pod may have got it from the network.
      if (known !== undefined && known.uid !== uid && state === 'not-ready') continue;
      this.states.set(address, { uid, state });
      this.emitter.emit(address);
    }
  }

  /** A pod has given its addresses back; one that another pod has got since stays. */
  drop(uid: string): void {
    for (const [address, entry] of this.states) {
      if (entry.uid !== uid) continue;
      this.states.delete(address);
      this.emitter.emit(address);
    }
  }
}

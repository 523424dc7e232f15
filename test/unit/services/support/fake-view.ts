import type { Change, View } from '../../../../src/cluster/port.ts';
import { Emitter, type Unsubscribe } from '../../../../src/kit/emitter.ts';
import { type KubeObject, keyOf } from '../../../../src/model/meta.ts';

/** A view that tests write to. */
export class FakeView<T extends KubeObject> implements View<T> {
  private readonly objects = new Map<string, T>();
  private readonly emitter = new Emitter<Change<T>>((error) => {
    throw error;
  });
  private waiting: (() => void)[] = [];
  synced: boolean;

  constructor(objects: readonly T[] = [], synced = true) {
    for (const object of objects) this.objects.set(keyOf(object), object);
    this.synced = synced;
  }

  get size(): number {
    return this.objects.size;
  }

  markSynced(): void {
    this.synced = true;
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  async whenSynced(signal?: AbortSignal): Promise<void> {
    if (this.synced) return;
    await new Promise<void>((resolve, reject) => {
      this.waiting.push(resolve);
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  }

  get(key: string): T | undefined {
    return this.objects.get(key);
  }

  values(): IterableIterator<T> {
    return this.objects.values();
  }

  subscribe(listener: (change: Change<T>) => void): Unsubscribe {
    return this.emitter.subscribe(listener);
  }

  put(...objects: readonly T[]): void {
    for (const object of objects) {
      const key = keyOf(object);
      const previous = this.objects.get(key);
      this.objects.set(key, object);
      this.emitter.emit({ key, previous, current: object });
    }
  }

  delete(key: string): void {
    const previous = this.objects.get(key);
    if (!this.objects.delete(key)) return;
    this.emitter.emit({ key, previous, current: undefined });
  }
}

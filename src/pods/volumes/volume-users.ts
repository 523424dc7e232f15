import { CodedError } from '../../kit/errors.ts';
import type { PersistentVolume } from '../../model/objects.ts';

/** Which pods have which PersistentVolumes, so that ReadWriteOncePod is kept on the node as it is when scheduling. */
export class VolumeUsers {
  private readonly users = new Map<string, Set<string>>();

  /** Throws Conflict when the volume is for one pod only and another has it. */
  enter(uid: string, volume: PersistentVolume): void {
    const name = volume.metadata.name ?? '';
    const present = this.users.get(name) ?? new Set();
    const modes = volume.spec?.accessModes ?? [];
    const isForOne = modes.length === 1 && modes[0] === 'ReadWriteOncePod';
    if (isForOne && present.size > 0 && !present.has(uid)) {
      const why = 'volume uses the ReadWriteOncePod access mode and is already in use by another pod';
      throw new CodedError('Conflict', why, { volume: name });
    }
    this.users.set(name, present.add(uid));
  }

  /** From one volume, or from all. */
  leave(uid: string, name?: string): void {
    for (const key of name === undefined ? [...this.users.keys()] : [name]) {
      const present = this.users.get(key);
      present?.delete(uid);
      if (present?.size === 0) this.users.delete(key);
    }
  }
}

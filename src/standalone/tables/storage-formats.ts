import type { CSIDriver, CSINode, StorageClass, VolumeAttachment } from '../../model/storage.ts';
import type { Cell } from './table.ts';

const DEFAULT_CLASS = 'storageclass.kubernetes.io/is-default-class';

export function csiDriverCells({ spec }: CSIDriver): Cell[] {
  const modes = (spec.volumeLifecycleModes ?? []).join(',');
  return [
    spec.attachRequired ?? true,
    spec.podInfoOnMount ?? false,
    spec.storageCapacity ?? false,
    spec.tokenRequests?.map(({ audience }) => audience).join(',') ?? '<unset>',
    spec.requiresRepublish ?? false,
    modes === '' ? '<none>' : modes,
  ];
}

export function csiNodeCells({ spec }: CSINode): Cell[] {
  return [spec?.drivers?.length ?? 0];
}

export function volumeAttachmentCells({ spec, status }: VolumeAttachment): Cell[] {
  return [spec.attacher, spec.source.persistentVolumeName ?? '', spec.nodeName, status?.attached ?? false];
}

export function storageClassCells(cls: StorageClass): Cell[] {
  return [
    cls.provisioner,
    cls.reclaimPolicy ?? 'Delete',
    cls.volumeBindingMode ?? 'Immediate',
    cls.allowVolumeExpansion ?? false,
  ];
}

/** kubectl marks the class that claims without one get. */
export function storageClassName({ metadata }: StorageClass): string {
  const name = metadata.name ?? '';
  return metadata.annotations?.[DEFAULT_CLASS] === 'true' ? `${name} (default)` : name;
}

import type { CSIDriver, StorageClass } from '../../model/storage.ts';

/** SetDefaults_CSIDriver (pkg/apis/storage/v1/defaults.go). */
export function applyCSIDriverDefaults(driver: CSIDriver): void {
  driver.spec ??= {};
  const { spec } = driver;
  spec.attachRequired ??= true;
  spec.podInfoOnMount ??= false;
  spec.storageCapacity ??= false;
  spec.fsGroupPolicy ??= 'ReadWriteOnceWithFSType';
  if ((spec.volumeLifecycleModes?.length ?? 0) === 0) spec.volumeLifecycleModes = ['Persistent'];
  spec.requiresRepublish ??= false;
  spec.seLinuxMount ??= false;
}

/** SetDefaults_StorageClass. */
export function applyStorageClassDefaults(cls: StorageClass): void {
  cls.reclaimPolicy ??= 'Delete';
  cls.volumeBindingMode ??= 'Immediate';
}

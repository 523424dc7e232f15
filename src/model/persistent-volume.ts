const NOT_SOURCES: ReadonlySet<string> = new Set([
  'capacity',
  'accessModes',
  'claimRef',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'mountOptions',
  'volumeMode',
  'nodeAffinity',
  'volumeAttributesClassName',
]);

/** The fields of a PersistentVolume's spec that say what it is made of, such as hostPath or csi: one, in a valid one. */
export function sourceFieldsOf(spec: object): readonly string[] {
  return Object.keys(spec).filter((key) => !NOT_SOURCES.has(key));
}

/**
 * How a runtime's version is shown in nodeInfo (kuberuntime newRuntimeVersion): a semantic version as it is, of
 * anything else the numbers that it begins with: "1.7.24~ds1" is 1.7.24.
 */
export function shownRuntimeVersion(version: string): string {
  const semantic = /^\s*v?((?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)\s*$/.exec(
    version,
  );
  if (semantic?.[1] !== undefined) return semantic[1];
  const generic = /^\s*v?(\d+(?:\.\d+)+)/.exec(version);
  return generic?.[1] === undefined ? 'Unknown' : generic[1].split('.').map(Number).join('.');
}

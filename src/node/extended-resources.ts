/** Resources that somebody else advertises: a device plugin, or an administrator (v1helper.IsExtendedResourceName). */
export function isExtendedResource(name: string): boolean {
  return name.includes('/') && !name.includes('kubernetes.io/') && !name.startsWith('requests.');
}

/** What is of the machine: its size comes from the kernel, and one that the kernel does not know is none. */
export function isHugepages(name: string): boolean {
  return name.startsWith('hugepages-');
}

/**
 * The extended resources among `names` that must stand at 0 when a Node is taken over (devicemanager
 * ShouldResetExtendedResourceCapacity). `plugged` is what a device manager's checkpoint says that plugins advertised:
 * undefined, there is none, the machine is new and nothing on it is known to have any; else only those, since no plugin
 * has announced itself to this process.
 */
export function resetOf(names: readonly string[], plugged: readonly string[] | undefined): string[] {
  return names.filter((name) => isExtendedResource(name) && (plugged === undefined || plugged.includes(name)));
}

/**
 * The resources that kubelet's device manager remembers in device-plugins/kubelet_internal_checkpoint: JSON with
 * {"Data": {"RegisteredDevices": {"example.com/gpu": ["id", …]}}}. A file that is something else remembers none.
 */
export function pluggedResourcesOf(checkpoint: string): readonly string[] {
  try {
    const { Data } = JSON.parse(checkpoint) as { Data?: { RegisteredDevices?: Record<string, unknown> | null } };
    return Object.keys(Data?.RegisteredDevices ?? {});
  } catch {
    return [];
  }
}

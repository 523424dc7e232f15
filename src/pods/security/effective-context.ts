import type { Container, Pod, SecurityContext } from '../../model/pod.ts';

/** A container's securityContext over the pod's, field by field (pkg/securitycontext DetermineEffectiveSecurityContext). */
export function effectiveContext(pod: Pod, container: Container): SecurityContext {
  const { runAsUser, runAsGroup, runAsNonRoot, seccompProfile, appArmorProfile, seLinuxOptions } =
    pod.spec.securityContext ?? {};
  const inherited = { runAsUser, runAsGroup, runAsNonRoot, seccompProfile, appArmorProfile, seLinuxOptions };
  return { ...present(inherited), ...present(container.securityContext ?? {}) };
}

// A field that is there but undefined or null must not hide the pod's.
function present(context: { readonly [K in keyof SecurityContext]: SecurityContext[K] | undefined }): SecurityContext {
  const entries = Object.entries(context).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(entries) as SecurityContext;
}

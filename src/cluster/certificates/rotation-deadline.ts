/**
 * When a certificate is to be replaced: after 70 to 90 % of its life, `fraction` (0..1) saying where between, so that
 * nodes that came together do not renew together for ever (client-go certificate_manager.go, jitteryDuration).
 * Milliseconds since the epoch.
 */
export function rotationDeadline(
  life: { readonly notBefore: number; readonly notAfter: number },
  fraction: number,
): number {
  return life.notBefore + (life.notAfter - life.notBefore) * (0.7 + 0.2 * fraction);
}

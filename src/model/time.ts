/** RFC 3339 with seconds, as metav1.Time writes it. */
export function rfc3339(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** RFC 3339 with microseconds, as metav1.MicroTime writes it (leases). */
export function rfc3339Micro(ms: number): string {
  const micros = Math.floor((((ms % 1000) + 1000) % 1000) * 1000);
  return `${new Date(ms).toISOString().slice(0, 19)}.${String(micros).padStart(6, '0')}Z`;
}

/** Milliseconds since the epoch, or undefined for absent or malformed text. */
export function parseTime(text: string | null | undefined): number | undefined {
  if (text === undefined || text === null) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

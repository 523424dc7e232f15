/**
 * Puts the wanted items into places 0…n-1 so that as few as possible move: what was there stays, new items fill the
 * holes, and the last ones move into holes that are left. Pure.
 */
export function assignPlaces(before: readonly string[], wanted: readonly string[]): readonly string[] {
  const missing = new Set(wanted);
  const places: (string | undefined)[] = before.map((item) => (missing.delete(item) ? item : undefined));
  const fresh = [...missing];
  for (let at = 0; at < places.length && fresh.length > 0; at++) places[at] ??= fresh.shift();
  places.push(...fresh);
  for (let at = 0; at < places.length; at++) {
    while (places.length > at && places.at(-1) === undefined) places.pop();
    if (at < places.length && places[at] === undefined) places[at] = places.pop();
  }
  return places.filter((item) => item !== undefined);
}

const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

/** A name for `generateName` (apiserver pkg/storage/names): the prefix, cut to 58 characters, and five letters. */
export function generatedName(prefix: string, random: () => number): string {
  let name = prefix.slice(0, 58);
  for (let count = 0; count < 5; count++) name += LETTERS[Math.floor(random() * LETTERS.length)];
  return name;
}

/** `deckhand manifests check`: every mistake on a line; the exit code is 1 when there is one. */
export async function manifestsCheck(dir: string): Promise<number> {
  const { checkManifests } = await import('../daemon.ts');
  const { mistakes, objects, files } = await checkManifests(dir);
  for (const mistake of mistakes) process.stderr.write(`${mistake}\n`);
  const found = `${objects} object${objects === 1 ? '' : 's'} in ${files} file${files === 1 ? '' : 's'}`;
  if (mistakes.length > 0) {
    process.stderr.write(`${mistakes.length} mistake${mistakes.length === 1 ? '' : 's'}; ${found} without\n`);
    return 1;
  }
  process.stdout.write(`${found}, no mistakes\n`);
  return 0;
}

import { formatMistake } from '../standalone/manifests/format-mistake.ts';
import { ManifestReader } from '../standalone/manifests/manifest-reader.ts';
import { SchemaTree } from '../standalone/schema/schema-tree.ts';

/** What the embedded API would say of a folder of manifests, as far as that can be told without running it. */
export async function checkManifests(
  dir: string,
): Promise<{ readonly mistakes: readonly string[]; readonly objects: number; readonly files: number }> {
  const { manifests, mistakes, files } = await new ManifestReader(new SchemaTree()).read(dir);
  return { mistakes: mistakes.map(formatMistake), objects: manifests.length, files };
}

// What `deckhand manifests check` needs, apart from the daemon's parts so that it loads alone.
export { formatMistake } from '../standalone/manifests/format-mistake.ts';
export { ManifestReader } from '../standalone/manifests/manifest-reader.ts';
export { SchemaTree } from '../standalone/schema/schema-tree.ts';

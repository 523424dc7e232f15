/** The grammar of image names (github.com/distribution/reference, regexp.go). */
const HOST_PART = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const HOST = `(?:${HOST_PART}(?:\\.${HOST_PART})*|\\[[0-9a-fA-F:]+\\])(?::[0-9]+)?`;
const PATH_PART = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const DIGEST = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
const NAME = new RegExp(
  `^(?<name>(?:${HOST}/)?${PATH_PART}(?:/${PATH_PART})*)(?::(?<tag>\\w[\\w.-]{0,127}))?(?:@(?<digest>${DIGEST}))?$`,
);

/** The longest name, tag and digest not counted (reference.go NameTotalLengthMax). */
const LONGEST_NAME = 255;
/** A name that looks like an image id would be ambiguous. */
const IMAGE_ID = /^[a-f0-9]{64}$/;
/** Digests that go-digest knows, with their length in hexadecimal digits. */
const DIGEST_LENGTHS: ReadonlyMap<string, number> = new Map([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
]);

/** The image to ask the runtime for: with ":latest" where it names neither tag nor digest. undefined: not an image name. */
export function imageToPull(image: string): string | undefined {
  if (IMAGE_ID.test(image)) return undefined;
  const { name, tag, digest } = NAME.exec(image)?.groups ?? {};
  if (name === undefined || name.length > LONGEST_NAME) return undefined;
  if (digest !== undefined && !isDigest(digest)) return undefined;
  return tag === undefined && digest === undefined ? `${image}:latest` : image;
}

function isDigest(text: string): boolean {
  const [algorithm = '', hex = ''] = text.split(':');
  return DIGEST_LENGTHS.get(algorithm) === hex.length && hex === hex.toLowerCase();
}

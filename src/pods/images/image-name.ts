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
const DOCKER_HUB = 'docker.io';
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

/** Why a text is no image name, in kubelet's words. */
export function imageNameProblem(image: string): string {
  const slash = image.indexOf('/');
  const path = slash !== -1 && isHost(image.slice(0, slash)) ? image.slice(slash + 1) : image;
  const remote = path.split(':', 1)[0] ?? '';
  const why = remote === remote.toLowerCase() ? '' : `: repository name (${remote}) must be lowercase`;
  return `couldn't parse image name "${image}": invalid reference format${why}`;
}

/** The name as it is written, without tag and digest: what pull records are kept by. undefined: not an image name. */
export function nameWithoutTag(image: string): string | undefined {
  return NAME.exec(image)?.groups?.['name'];
}

/**
 * The repository with its registry, without tag and digest: "web" is "docker.io/library/web". What credentials are looked
 * up by. undefined: not an image name.
 */
export function repositoryOf(image: string): string | undefined {
  const name = nameWithoutTag(image);
  if (name === undefined) return undefined;
  const slash = name.indexOf('/');
  const first = slash === -1 ? '' : name.slice(0, slash);
  const hasHost = isHost(first);
  const host = hasHost && first !== 'index.docker.io' ? first : DOCKER_HUB;
  const path = hasHost ? name.slice(slash + 1) : name;
  return host === DOCKER_HUB && !path.includes('/') ? `${host}/library/${path}` : `${host}/${path}`;
}

/** Whether the first part of a name is a registry and not a team on Docker Hub. */
function isHost(first: string): boolean {
  return /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
}

function isDigest(text: string): boolean {
  const [algorithm = '', hex = ''] = text.split(':');
  return DIGEST_LENGTHS.get(algorithm) === hex.length && hex === hex.toLowerCase();
}

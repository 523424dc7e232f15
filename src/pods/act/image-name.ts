/**
 * The grammar of distribution/reference, loosely: an optional host with port, lower-case path components, then a tag,
 * a digest or both.
 */
const NAME =
  /^(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?\/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*(?::(?<tag>\w[\w.-]{0,127}))?(?:@(?<digest>[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}))?$/;

/** The image to ask the runtime for: with ":latest" where it names neither tag nor digest. undefined: not an image name. */
export function imageToPull(image: string): string | undefined {
  const match = NAME.exec(image);
  if (match === null) return undefined;
  return match.groups?.['tag'] === undefined && match.groups?.['digest'] === undefined ? `${image}:latest` : image;
}

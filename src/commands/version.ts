/** The version of this build; the bundler puts it in. */
export function version(): string {
  return process.env.DECKHAND_VERSION ?? '0.0.0-source';
}

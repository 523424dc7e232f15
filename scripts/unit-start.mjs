/**
 * How systemd/deckhand.service starts the daemon, from its text: `env` are the limits of glibc's memory, `argv` the
 * command up to the program's own arguments. Throws when the unit says it in another way.
 */
export function startOf(unit) {
  const limits = /^Environment=(MALLOC_.+)$/m.exec(unit)?.[1];
  const start = /^ExecStart=(.+) run \$DECKHAND_ARGS$/m.exec(unit)?.[1];
  if (limits === undefined || start === undefined) throw new Error('deckhand.service starts deckhand in another way');
  return { env: Object.fromEntries(limits.split(' ').map((one) => one.split('='))), argv: start.split(' ') };
}

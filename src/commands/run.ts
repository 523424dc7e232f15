import { loadConfig } from '../config/load-config.ts';
import { parseArguments } from '../config/parse-arguments.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import { createLogger } from '../kit/pino-logger.ts';
import { version } from './version.ts';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/**
 * `deckhand run`: starts the daemon and keeps it until SIGTERM or SIGINT; a second signal ends it at once. Containers go
 * on running either way. Resolves with the exit code: 0 after a signal, 1 when it could not start or a part of it failed.
 */
export async function run(argv: readonly string[]): Promise<number> {
  const { config, effective, logger, setVerbosity, flush } = await configured(argv);
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) {
      logger.warn({ signal }, 'asked to end a second time; ending without waiting');
      flush();
      process.exit(1);
    }
    logger.info({ signal }, 'asked to end');
    stop.abort();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  // A fault that nobody caught leaves the process in an unknown state: say why, then let the service manager restart it.
  process.on('uncaughtExceptionMonitor', (error, origin) => {
    logger.error({ origin, error: messageOf(error), stack: error.stack }, 'ending after a fault that nothing handled');
    flush();
  });
  try {
    const { runDaemon } = await import('../daemon.ts');
    await runDaemon({
      config,
      effective,
      flags: givenFlags(argv),
      version: version(),
      log: logger,
      setVerbosity,
      signal: stop.signal,
    });
    return 0;
  } catch (error) {
    // A coded error says in words what is wrong; where any other was thrown tells what to mend.
    const stack = error instanceof Error && !(error instanceof CodedError) ? { stack: error.stack } : {};
    logger.error({ error: messageOf(error), ...stack }, 'ended by a failure');
    return 1;
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
    flush();
  }
}

/** What is in force is told once, and never changes while the process runs, as with kubelet. */
async function configured(
  argv: readonly string[],
): Promise<Pick<Awaited<ReturnType<typeof loadConfig>>, 'config' | 'effective'> & ReturnType<typeof createLogger>> {
  const { config, warnings, skipped, effective } = await loadConfig(await parseArguments(argv));
  if (process.getuid?.() !== 0) {
    throw new CodedError(
      'Forbidden',
      'run needs root, for it makes cgroups, mounts and Service rules; use sudo or the systemd unit',
    );
  }
  const created = createLogger(config.log);
  for (const warning of warnings) created.logger.warn({}, warning);
  if (config.log.verbosity >= 4) {
    for (const file of skipped) created.logger.debug({ file }, 'not a drop-in, for its name does not end in .conf');
    created.logger.debug({ configuration: effective() }, 'the configuration in force');
  }
  return { config, effective, ...created };
}

/** By name, as they were given; what may be secret is masked. */
function givenFlags(argv: readonly string[]): Readonly<Record<string, string>> {
  const flags: Record<string, string> = {};
  for (const [index, word] of argv.entries()) {
    const match = /^--?([^=]+)(?:=(.*))?$/s.exec(word);
    if (match === null) continue;
    const name = (match[1] ?? '').replaceAll('_', '-');
    const next = argv[index + 1];
    const value = match[2] ?? (next === undefined || next.startsWith('-') ? 'true' : next);
    flags[name] = /header|token|password/.test(name) ? '<masked>' : value;
  }
  return flags;
}

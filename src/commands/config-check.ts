import { type ConfigSources, checkConfig } from '../config/load-config.ts';

/** `deckhand config check`: every finding on a line; the exit code is 1 when there is an error among them. */
export async function configCheck(sources: ConfigSources, print: boolean): Promise<number> {
  const { config, findings } = await checkConfig(sources);
  for (const { level, text } of findings) process.stderr.write(`${level}: ${text}\n`);
  if (config === undefined) return 1;
  if (print) process.stdout.write(`${JSON.stringify(config, undefined, 2)}\n`);
  else process.stdout.write(`configuration is valid, ${findings.length} warning${findings.length === 1 ? '' : 's'}\n`);
  return 0;
}

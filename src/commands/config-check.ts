import { checkConfig } from '../config/load-config.ts';
import { parseArguments } from '../config/parse-arguments.ts';

export interface ConfigCheckOptions {
  readonly output: 'yaml' | 'json';
}

/**
 * `deckhand config check`: every finding on a line of stderr, then what is in force on stdout: three YAML documents, or
 * one JSON list. The exit code is 1 when there is an error among the findings; nothing is printed then.
 */
export async function configCheck(argv: readonly string[], { output }: ConfigCheckOptions): Promise<number> {
  const { config, findings, effective } = await checkConfig(await parseArguments(argv));
  for (const { level, text } of findings) process.stderr.write(`${level}: ${text}\n`);
  if (config === undefined) return 1;
  const documents = effective();
  if (output === 'json') process.stdout.write(`${JSON.stringify(documents, undefined, 2)}\n`);
  else {
    const { stringify } = await import('yaml');
    process.stdout.write(documents.map((document) => stringify(document)).join('---\n'));
  }
  return 0;
}

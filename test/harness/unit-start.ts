import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startOf } from '../../scripts/unit-start.mjs';
import { projectRoot } from './project-root.ts';

/** How systemd/deckhand.service starts Node: what is measured and tested is then what users have. */
export function unitStart(): { readonly env: Readonly<Record<string, string>>; readonly flags: readonly string[] } {
  const { env, argv } = startOf(readFileSync(join(projectRoot(), 'systemd', 'deckhand.service'), 'utf8'));
  return { env, flags: argv.filter((word) => word.startsWith('--')) };
}

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './project-root.ts';

/** How systemd/deckhand.service starts Node: what is measured and tested is then what users have. */
export function unitStart(): { readonly env: Readonly<Record<string, string>>; readonly flags: readonly string[] } {
  const unit = readFileSync(join(projectRoot(), 'systemd', 'deckhand.service'), 'utf8');
  const assignments = [...unit.matchAll(/^Environment=(MALLOC_.+)$/gm)].flatMap(([, text = '']) => text.split(' '));
  const flags = /^ExecStart=\/usr\/bin\/node((?: --\S+)*) \/usr/m.exec(unit)?.[1];
  if (assignments.length === 0 || flags === undefined) throw new Error('deckhand.service starts Node in another way');
  return { env: Object.fromEntries(assignments.map((one) => one.split('='))), flags: flags.trim().split(' ') };
}

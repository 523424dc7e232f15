import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { projectRoot } from '../../harness/project-root.ts';
import { runCommand, tryCommand } from '../../harness/run-command.ts';

const lab = join(projectRoot(), 'lab');
const scripts = readdirSync(lab).filter((file) => file.endsWith('.sh'));
const has = async (program: string): Promise<boolean> =>
  (await tryCommand(['sh', '-c', `command -v ${program}`])).code === 0;

describe('the lab', () => {
  it.each(scripts)('%s is a shell script that stops at the first failure, and says what it takes', async (file) => {
    await runCommand(['sh', '-n', join(lab, file)]);
    const text = readFileSync(join(lab, file), 'utf8');
    expect(text.startsWith('#!/bin/sh\n# ')).toBe(true);
    expect(text).toMatch(/^set -eu$/m);
    // Each variable of capitals is one that the head explains (or that another script's head does), or is set here.
    const heads = scripts.map((one) => /^(?:#.*\n)+/.exec(readFileSync(join(lab, one), 'utf8'))?.[0] ?? '').join('');
    for (const [, name = ''] of text.matchAll(/\$\{?([A-Z][A-Z_]+)/g)) {
      const known = heads.includes(`#   ${name} `) || text.includes(`export ${name}`);
      expect(known, `${file} uses ${name}, which no head explains`).toBe(true);
    }
  });

  it('the Vagrantfile names scripts that are there, and gives them what they ask for', () => {
    const vagrantfile = readFileSync(join(projectRoot(), 'Vagrantfile'), 'utf8');
    const blocks = [...vagrantfile.matchAll(/script one, '([\w.-]+)'(?:, \{([\s\S]*?)\n {4,}\})?/g)];
    expect(blocks.map(([, name]) => name)).toEqual(['control-plane.sh', 'worker.sh', 'standalone.sh']);
    for (const [, name = '', given = ''] of blocks) {
      expect(scripts).toContain(name);
      const asked = /^: (.*)$/m.exec(readFileSync(join(lab, name), 'utf8'))?.[1] ?? '';
      for (const [, variable] of asked.matchAll(/\$\{(\w+):\?\}/g)) expect(given).toContain(`'${variable}' =>`);
    }
  });

  it('shellcheck has nothing to say, where it is installed', async ({ skip }) => {
    if (!(await has('shellcheck'))) skip('no shellcheck here');
    await runCommand(['shellcheck', ...scripts.map((file) => join(lab, file))]);
  });

  it('vagrant takes the Vagrantfile, where it is installed', { timeout: 120_000 }, async ({ skip }) => {
    if (!(await has('vagrant'))) skip('no vagrant here');
    const folder = mkdtempSync(join(tmpdir(), 'deckhand-vagrant-'));
    try {
      cpSync(join(projectRoot(), 'Vagrantfile'), join(folder, 'Vagrantfile'));
      const env = { ...process.env, HOME: folder, VAGRANT_CHECKPOINT_DISABLE: '1' };
      const said = await runCommand(['vagrant', 'validate', '--ignore-provider'], { cwd: folder, env });
      expect(said).toContain('validated successfully');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

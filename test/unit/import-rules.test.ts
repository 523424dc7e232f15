import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkImports, importsOf } from '../harness/import-rules.ts';
import { projectRoot } from '../harness/project-root.ts';

const src = join(projectRoot(), 'src');

describe('import rules', () => {
  it('hold in src/', () => {
    const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(
      (file) => file.endsWith('.ts') && !file.includes('/generated/'),
    );
    expect(files.length).toBeGreaterThan(20);
    const violations = files.flatMap((file) => checkImports(file, readFileSync(join(src, file), 'utf8')));
    expect(violations.map(({ file, line, why }) => `src/${file}:${line} ${why}`)).toEqual([]);
  });

  it.each([
    ['kit/clock.ts', "import { x } from '../model/pod.ts';", 'kit may import nothing of model'],
    ['model/pod.ts', "import type { Config } from '../config/config.ts';", 'model may import nothing of config'],
    ['pods/loop.ts', "import { lb } from '../services/loop.ts';", 'pods and services never import each other'],
    ['services/loop.ts', "import type { P } from '../pods/port.ts';", 'services and pods never import each other'],
    ['pods/act/start.ts', "import { RealCri } from '../../host/cri/real.ts';", 'only daemon.ts'],
    ['commands/run.ts', "import { RealCri } from '../host/cri/real.ts';", 'only daemon.ts'],
    ['pods/act/start.ts', "import { connect } from '../../host/cri/connection.ts';", 'only port.ts files of host'],
    [
      'pods/observe/pods.ts',
      "import { WatchCache } from '../../cluster/watch-cache.ts';",
      'only port.ts files of cluster',
    ],
    [
      'services/observe/a.ts',
      "const m = await import('../../cluster/watch-cache.ts');",
      'only port.ts files of cluster',
    ],
    ['standalone/server.ts', "import { run } from '../pods/loop.ts';", 'standalone may import nothing of pods'],
    ['daemon.ts', "import { FakeCri } from './host/cri/fake.ts';", 'a fake is for tests'],
    ['pods/diff/plan.ts', "import { readFileSync } from 'node:fs';", 'a diff imports nothing of node:'],
    ['pods/diff/plan.ts', "import { pathOf } from '../../host/cgroup/port.ts';", 'a diff imports no code of host'],
    [
      'services/policy/a.ts',
      "import type { C } from '../../cluster/api-client.ts';",
      'a diff imports no code of cluster',
    ],
    ['pods/diff/plan.ts', 'const at = Date.now();', 'uses Date.now: deciding is pure'],
    ['services/render/a.ts', 'export async function render() {}', 'uses async: deciding is pure'],
    ['host/cri/real.ts', "export * from '../../daemon.ts';", 'host may import nothing of daemon.ts'],
    ['kit/x.ts', "import '../../test/harness/netns.ts';", 'nothing from outside src/'],
    ['helpers/x.ts', '', '"helpers" is no room'],
    ['pods/a.ts', "import {\n  type A,\n  b,\n} from '../node/port.ts';", 'pods may import nothing of node'],
  ])('refuse a planted violation in %s: %s', (file, source, why) => {
    const violations = checkImports(file, `// a comment\n${source}\n`);
    expect(violations.map((violation) => violation.why).join('\n')).toContain(why);
  });

  it.each([
    ['daemon.ts', "import { RealCri } from './host/cri/real.ts';\nimport { a } from './services/loop.ts';"],
    ['host/cri/connect.ts', "import { RealCri } from './real.ts';"],
    ['pods/act/start.ts', "import type { CriRuntime } from '../../host/cri/port.ts';"],
    ['standalone/manifests/apply.ts', "import { type ApiClient } from '../../cluster/port.ts';"],
    ['pods/diff/plan.ts', '// Promise, Date.now and node: in a comment\nconst text = \'await import("node:fs")\';'],
    ['pods/diff/plan.ts', "import type { ContainerState } from '../../host/cri/port.ts';"],
    ['node/status.ts', "import { Leases } from '../cluster/leases.ts';"],
    ['model/pod.ts', "// import { a } from '../pods/loop.ts';\n/* import '../pods/loop.ts' */"],
  ])('allow what the design allows in %s', (file, source) => {
    expect(checkImports(file, source)).toEqual([]);
  });

  it('find every form of import, and tell types from code', () => {
    const source = [
      "import type { A } from './a.ts';",
      "import B, { type C } from './b.ts';",
      "import { type D, type E } from './d.ts';",
      "export * from './f.ts';",
      "export type { G } from './g.ts';",
      "import './h.ts';",
      "const i = await import('./i.ts');",
    ].join('\n');
    expect(importsOf(source).map(({ specifier, typeOnly, line }) => [specifier, typeOnly, line])).toEqual([
      ['./a.ts', true, 1],
      ['./b.ts', false, 2],
      ['./d.ts', true, 3],
      ['./f.ts', false, 4],
      ['./g.ts', true, 5],
      ['./h.ts', false, 6],
      ['./i.ts', false, 7],
    ]);
  });
});

import { setFlagsFromString } from 'node:v8';
import { Command, CommanderError, Option } from 'commander';
import type { ConfigCheckOptions } from './commands/config-check.ts';
import type { DrainCommandOptions, PlaceOptions } from './commands/drain.ts';
import { addConfigOptions } from './commands/flag-options.ts';
import type { ExplainOptions } from './commands/proxy.ts';
import { version } from './commands/version.ts';
import { CodedError, messageOf } from './kit/errors.ts';

// V8 then gives memory back after a burst (100 pods starting leave some 20 MB of garbage in the heap otherwise), which
// counts for more on a node than the little speed it costs. Flags that a user gave to node stay as they are.
setFlagsFromString('--optimize-for-size');

/** Each command loads only what it needs: the daemon's modules are not read to print a version. */
function program(end: (code: number) => void): Command {
  const deckhand = new Command('deckhand')
    .description('One Linux daemon that does the work of kubelet and kube-proxy on a Kubernetes node.')
    .version(version(), '--version', 'print the version')
    .exitOverride();

  addConfigOptions(
    deckhand.command('run').description('run the node, with its own API unless --kubeconfig is given'),
  ).action(async (_options: unknown, command: Command) => {
    const { run } = await import('./commands/run.ts');
    end(await run(command.args));
  });

  const config = deckhand.command('config').description('work with configuration');
  addConfigOptions(
    config.command('check').description('say what is wrong with configuration, and print what is in force'),
  )
    .addOption(new Option('-o, --output <FORMAT>', 'how to print it').choices(['yaml', 'json']).default('yaml'))
    .action(async (options: ConfigCheckOptions, command: Command) => {
      const { configCheck } = await import('./commands/config-check.ts');
      end(await configCheck(command.args, options));
    });

  const manifests = deckhand.command('manifests').description('work with folders of manifests');
  manifests
    .command('check <DIR>')
    .description('say what is wrong with the manifests of a folder')
    .action(async (dir: string) => {
      const { manifestsCheck } = await import('./commands/manifests-check.ts');
      end(await manifestsCheck(dir));
    });

  const metricsAddress = (): Option =>
    new Option('--metrics-address <ADDRESS>', "the running daemon's metricsBindAddress").default('127.0.0.1:10249');
  const output = (): Option =>
    new Option('-o, --output <FORMAT>', 'how to print it').choices(['text', 'json']).default('text');
  deckhand
    .command('explain')
    .description('say what the node does with something, and why')
    .command('service <NAMESPACE/NAME>')
    .description('say where a Service leads to on this node, which endpoints are out and why')
    .option('--from <IP>', 'a client')
    .option('--to <ADDRESS:PORT[/PROTOCOL]>', 'where it sends to; otherwise everywhere that the Service answers')
    .addOption(output())
    .addOption(metricsAddress())
    .action(async (service: string, options: ExplainOptions) => {
      const { explainService } = await import('./commands/proxy.ts');
      end(await explainService(service, options));
    });
  deckhand
    .command('plan')
    .description('print the Service rules that the running daemon would write if it began anew, and write nothing')
    .addOption(output())
    .addOption(metricsAddress())
    .action(async (options: ExplainOptions) => {
      const { planRules } = await import('./commands/proxy.ts');
      end(await planRules(options));
    });
  deckhand
    .command('proxy')
    .description('work with Service rules')
    .command('cleanup')
    .description('take all Service rules of deckhand away; end the daemon first, or it writes them again')
    .option('--kube-proxy', 'those of kube-proxy too, whatever its mode')
    .action(async (options: { kubeProxy?: boolean }) => {
      const { proxyCleanup } = await import('./commands/proxy.ts');
      end(await proxyCleanup(options));
    });

  const addPlace = (command: Command): Command =>
    command
      .option('--kubeconfig <FILE>', "the API and who asks it; otherwise the running daemon's")
      .option('--hostname-override <NAME>', "the node's name; otherwise the running daemon's")
      .addOption(metricsAddress());
  addPlace(deckhand.command('drain').description('let no new pods onto this node, and evict those that it has'))
    .option('--force', 'evict pods that nobody makes anew, too')
    .option('--delete-emptydir-data', 'evict pods with an emptyDir, too; what is in it goes with them')
    .option('--disable-eviction', 'delete pods, which asks no PodDisruptionBudget')
    .option('--grace-period <SECONDS>', 'how long a pod has to end; negative: as its spec says', '-1')
    .option('--timeout <DURATION>', 'how long to go on, such as 5m; 0s: until all are gone', '0s')
    .action(async (options: DrainCommandOptions) => {
      const { drain } = await import('./commands/drain.ts');
      end(await drain(options));
    });
  for (const name of ['cordon', 'uncordon'] as const) {
    const what = name === 'cordon' ? 'let no new pods onto this node' : 'let pods onto this node again';
    addPlace(deckhand.command(name).description(what)).action(async (options: PlaceOptions) => {
      const { cordon } = await import('./commands/drain.ts');
      end(await cordon(name, options));
    });
  }

  deckhand
    .command('version')
    .description('print the version')
    .action(() => {
      process.stdout.write(`deckhand ${version()}\n`);
    });
  return deckhand;
}

try {
  await program((code) => {
    process.exitCode = code;
  }).parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode;
  else {
    // Mistakes in what was asked for are told in words; only a fault of deckhand's own shows its stack.
    const mistake = error instanceof CodedError;
    process.stderr.write(`deckhand: ${mistake || !(error instanceof Error) ? messageOf(error) : error.stack}\n`);
    process.exitCode = 1;
  }
}

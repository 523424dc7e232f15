import type { ApiClient } from '../cluster/port.ts';
import { WatchCache, type WatchCacheMetrics } from '../cluster/watch-cache.ts';
import type { RuntimeClass } from '../model/objects.ts';
import { resources } from '../model/resource.ts';
import { type RuntimeHandler, RuntimeHandlers } from '../pods/runtime-class.ts';
import { type Foundation, runPart } from './foundation.ts';

/** RuntimeClasses by name, watched from the first pod on that names one. `changed` hears the names of those that changed. */
export function openRuntimeClasses(
  foundation: Foundation,
  { api, metrics, changed }: { api: ApiClient; metrics: WatchCacheMetrics; changed: (name: string) => void },
): RuntimeHandlers {
  const { clock, log } = foundation;
  let cache: WatchCache<RuntimeClass, RuntimeHandler> | undefined;
  const open = (): WatchCache<RuntimeClass, RuntimeHandler> => {
    const opened = new WatchCache<RuntimeClass, RuntimeHandler>(
      { type: resources.runtimeclasses, project: ({ handler }) => ({ handler }) },
      { api, clock, logger: log.child({ part: 'watch runtimeclasses' }), metrics },
    );
    opened.subscribe(({ key }) => changed(key));
    runPart(foundation, 'watch of runtimeclasses', (signal) => opened.run(signal));
    return opened;
  };
  return new RuntimeHandlers({
    classes: () => {
      cache ??= open();
      return cache;
    },
    clock,
  });
}

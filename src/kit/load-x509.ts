type X509 = typeof import('@peculiar/x509');

interface ReflectMetadata {
  getMetadata?: unknown;
  getOwnMetadata?: unknown;
  defineMetadata?: unknown;
}

/**
 * Loads @peculiar/x509 (some 12 MB in memory) when it is first needed. Its dependency injection (tsyringe) insists on
 * three functions of the reflect-metadata proposal, which are given to it here instead of a polyfill package.
 */
export async function loadX509(): Promise<X509> {
  provideReflectMetadata(Reflect as ReflectMetadata);
  return await import('@peculiar/x509');
}

function provideReflectMetadata(reflect: ReflectMetadata): void {
  if (reflect.getMetadata !== undefined) return;
  const metadata = new WeakMap<object, Map<unknown, unknown>>();
  const getOwn = (key: unknown, target: object): unknown => metadata.get(target)?.get(key);
  reflect.getOwnMetadata = getOwn;
  reflect.getMetadata = (key: unknown, target: object): unknown => {
    for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
      const value = getOwn(key, at);
      if (value !== undefined) return value;
    }
    return undefined;
  };
  reflect.defineMetadata = (key: unknown, value: unknown, target: object): void => {
    const own = metadata.get(target) ?? new Map<unknown, unknown>();
    metadata.set(target, own.set(key, value));
  };
}

/** The bundle's content, named by the build; a checkout has no name. */
declare const PROXY_BUILD: string | undefined;

/** The version this build reports; a control plane and its proxies refuse each other when it differs. */
export const VERSION = typeof PROXY_BUILD === 'undefined' ? '0.1.0' : `0.1.0+${PROXY_BUILD}`;

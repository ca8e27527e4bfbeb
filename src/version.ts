/** The version this build reports; a control plane and its proxies refuse each other when it differs. */
export const VERSION = '0.1.0';

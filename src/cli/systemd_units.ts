/** What `init --systemd` writes; config/systemd has the same, for those who install it themselves. */

/** Not `proxy`, whom Debian has for others. */
export const SYSTEM_USER = 'proxyd';

export const SYSUSERS = `u ${SYSTEM_USER} - "Proxies of proxy" /var/lib/proxy
`;

export function serviceUnit(command: string, file: string): string {
  return `[Unit]
Description=proxy: TLS, certificates, load balancing and the workers themselves
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
# Node has no datagram sockets in files: systemd-notify speaks for it.
NotifyAccess=all
ExecStart=${command} run --config ${file}
# Tells whether the new configuration was taken.
ExecReload=${command} reload --config ${file}
Restart=always
RestartSec=1
WatchdogSec=60

# TERM goes to the control plane alone, which ends requests before workers; what is left after that is killed.
KillMode=mixed
TimeoutStopSec=45
# One worker out of memory is replaced, and is no reason to stop the others.
OOMPolicy=continue
Delegate=cpu memory pids
LimitNOFILE=65536

# The control plane is root without most of root's rights: it binds ports below 1024, gives proxies and workers users of
# their own, hands them their files and ends them. Proxies have no rights at all; what workers can do is up to their user.
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_SYS_RESOURCE
NoNewPrivileges=yes
StateDirectory=proxy
StateDirectoryMode=0700
RuntimeDirectory=proxy
# Workers pass, to the sockets they have a right to.
RuntimeDirectoryMode=0711
UMask=0022

ProtectSystem=full
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`;
}

export const SOCKET_UNIT = `# With it connections made during a restart wait instead of being refused.
[Unit]
Description=Sockets of proxy

[Socket]
ListenStream=80
ListenStream=443
Backlog=4096
Service=proxy.service

[Install]
WantedBy=sockets.target
`;

/** Everything that can end a request without the worker's own answer, and the one place that turns it into a status. */
export type Failure =
  | 'bad_request'
  | 'not_found'
  | 'misdirected'
  | 'header_timeout'
  | 'body_timeout'
  | 'body_too_large'
  | 'head_too_large'
  | 'client_aborted'
  | 'no_worker'
  | 'busy'
  | 'no_upgrade'
  | 'no_certificate'
  | 'connect_failed'
  | 'connect_timeout'
  | 'upstream_closed'
  | 'upstream_invalid'
  | 'upstream_timeout'
  | 'upstream_cut'
  | 'shutdown';

/**
 * The status a failure is answered with. 499 (nginx's "client closed request") is only ever logged: nobody is left to
 * read it.
 */
export function statusOf(failure: Failure): number {
  switch (failure) {
    case 'bad_request':
      return 400;
    case 'not_found':
      return 404;
    case 'misdirected':
      return 421;
    case 'header_timeout':
    case 'body_timeout':
      return 408;
    case 'body_too_large':
      return 413;
    case 'head_too_large':
      return 431;
    case 'client_aborted':
      return 499;
    case 'no_worker':
    case 'busy':
    case 'no_certificate':
    case 'shutdown':
      return 503;
    case 'no_upgrade':
      return 501;
    case 'connect_timeout':
    case 'upstream_timeout':
      return 504;
    case 'connect_failed':
    case 'upstream_closed':
    case 'upstream_invalid':
    case 'upstream_cut':
      return 502;
  }
}

const REASONS: Readonly<Record<number, string>> = {
  301: 'Moved Permanently',
  302: 'Found',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

/** The reason phrase of RFC 9110 section 15. */
export function reasonPhrase(status: number): string {
  return REASONS[status] ?? 'Error';
}

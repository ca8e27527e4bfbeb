/** Whether the ledger would let the real order through, and how much of the CA's patience is left. */
import type { Check } from './context.ts';
import { failure, passed, warning } from './finding.ts';

export const checkBudget: Check = async ({ name, hosts, dueAt = 0, lifeMs = null }, { ledger, issuer }) => {
  if (ledger === null) return [];
  const key = { ca: issuer.ca, names: hosts };
  const { issued, allowed, nextAt } = await ledger.budget(key);
  const free = nextAt === null ? '' : `; the next is free at ${new Date(nextAt).toISOString()}`;
  if (allowed !== null && issued >= allowed) {
    return [
      failure(
        'budget',
        'budget_used_up',
        name,
        `0 of ${allowed} certificates for this exact set of names are left this week${free}`,
        'wait until then; a certificate that is there goes on being served, and a set with one name more has a budget of its own',
      ),
    ];
  }
  const verdict = await ledger.mayOrder({ ...key, exempt: false, force: false, lifeMs });
  // What is in the way now is out of it by then.
  if (!verdict.ok && verdict.until > dueAt) {
    const until = new Date(verdict.until).toISOString();
    const message = `an order would have to wait until ${until}: ${verdict.reason}`;
    return [warning('budget', 'order_must_wait', name, message, 'wait, or see whether renew --force may go before')];
  }
  const left =
    allowed === null ? `${issued} were issued this week` : `${allowed - issued} of ${allowed} are left this week`;
  return [passed('budget', name, `certificates for this exact set of names: ${left}`)];
};

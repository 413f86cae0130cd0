-- Read models: each row is the fold of exactly one stream, written in the transaction that stores the stream's facts.
-- The constraints repeat the rules of the domain on purpose: the database refuses a command that breaks a rule.

create table seller_transfers (
    transfer_id        uuid        primary key,
    order_id           text        not null,
    seller_id          text        not null,
    destination        text        not null,
    cause              text        not null,
    amount             bigint      not null,
    currency           text        not null,
    status             text        not null,
    amount_reversed    bigint      not null,
    stripe_transfer_id text,
    stripe_reversal_id text,
    retry_count        integer     not null,
    next_retry_at      timestamptz,
    waiting_for        text,
    last_error         text,
    refund_id          text,
    transfer_group     text        not null,
    source_transaction text,
    version            bigint      not null,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    -- The lease belongs to the workers, not to the facts: no fold writes it, and no append touches it.
    leased_by          text,
    leased_until       timestamptz,

    constraint a_transfer_has_a_known_status check (status in (
        'pending', 'completed', 'failed', 'reversal_pending',
        'reversed', 'permanently_failed', 'partially_reversed', 'cancelled')),
    constraint a_transfer_is_never_negative check (amount >= 0),
    constraint reversals_never_exceed_the_transfer check (0 <= amount_reversed and amount_reversed <= amount),
    constraint retries_are_counted_from_zero check (retry_count >= 0),
    constraint a_final_status_has_no_next_retry check (
        status not in ('reversed', 'permanently_failed', 'cancelled') or next_retry_at is null),
    constraint an_unsent_transfer_is_due_or_says_what_it_waits_for check (
        status not in ('pending', 'failed') or next_retry_at is not null or waiting_for is not null),
    constraint a_settled_transfer_waits_for_nothing check (
        status in ('pending', 'failed', 'reversal_pending') or (next_retry_at is null and waiting_for is null)),
    constraint a_lease_has_a_holder_and_an_end check ((leased_by is null) = (leased_until is null))
)
-- Free space for lease updates on the same page: they change no indexed column, so no index grows.
with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

-- Due work. Several small partial indexes instead of one large index: a settled transfer is in none of them.
create index seller_transfers_due_reversals_idx on seller_transfers (status, next_retry_at)
    where status = 'reversal_pending';
create index seller_transfers_due_failed_idx on seller_transfers (status, next_retry_at)
    where status = 'failed' and next_retry_at is not null;
create index seller_transfers_due_pending_idx on seller_transfers (status, next_retry_at)
    where status = 'pending' and next_retry_at is not null;
-- The longest due of both statuses in one order.
create index seller_transfers_due_to_send_idx on seller_transfers (next_retry_at)
    where status in ('pending', 'failed') and next_retry_at is not null;
-- Sellers take turns: a claim walks from seller to seller and takes the longest due transfers of each. A lease changes none
-- of these columns, so a lease update still touches no index.
-- `seller_id >= ''` is always true. Only statements that repeat this condition can use these two indexes. Without the
-- condition, the planner would use them, while the tables are quiet, for statements that want the longest due of all
-- sellers, and such a statement would sort 100,000 rows each time once a storm of refunds has come.
create index seller_transfers_turns_to_send_idx on seller_transfers (seller_id, next_retry_at)
    where status in ('pending', 'failed') and next_retry_at is not null and seller_id >= '';
create index seller_transfers_turns_to_reverse_idx on seller_transfers (seller_id, next_retry_at)
    where status = 'reversal_pending' and next_retry_at is not null and seller_id >= '';
-- Transfers that become due when an account is ready or has money: few rows at any time.
create index seller_transfers_waiting_idx on seller_transfers (waiting_for, destination, transfer_id)
    where waiting_for in ('account', 'funds');

-- One object at Stripe pays or reverses one transfer of ours.
create unique index one_transfer_per_stripe_transfer on seller_transfers (stripe_transfer_id)
    where stripe_transfer_id is not null and stripe_transfer_id <> '';
create unique index one_transfer_per_stripe_reversal on seller_transfers (stripe_reversal_id)
    where stripe_reversal_id is not null and stripe_reversal_id <> '';

-- Lists for people, newest first.
create index seller_transfers_newest_idx on seller_transfers (created_at desc, transfer_id desc);
-- `created_at > '-infinity'` is always true, and keeps this index for the lists. Without the condition, the planner would use
-- it for claims once the statistics say that no transfer is due, and each claim would read all transfers of the status,
-- among them the dead rows that an old snapshot keeps.
create index seller_transfers_status_idx on seller_transfers (status, created_at desc, transfer_id desc)
    where created_at > '-infinity';
create index seller_transfers_order_idx on seller_transfers (order_id);
create index seller_transfers_seller_idx on seller_transfers (seller_id, created_at desc, transfer_id desc);
-- The sellers of an account at Stripe.
create index seller_transfers_destination_idx on seller_transfers (destination, seller_id);
-- For a reconciliation or a backfill: our transfers without a known id at Stripe. Paid transfers are not in this index.
create index seller_transfers_without_stripe_id_idx on seller_transfers (destination, transfer_group)
    where stripe_transfer_id is null or stripe_transfer_id = '';


create table transfer_reversals (
    reversal_id        uuid        primary key,
    transfer_id        uuid        not null,
    order_id           text        not null,
    seller_id          text        not null,
    refund_id          text,
    amount             bigint      not null,
    currency           text        not null,
    status             text        not null,
    reason             text        not null,
    settled_by         text,
    stripe_reversal_id text,
    waiting_for        text,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,

    -- 'resolved': a person closed a reversal that had failed: it was settled outside of Stripe, or written off.
    constraint a_reversal_has_a_known_status check (
        status in ('queued', 'requested', 'reversed', 'withdrawn', 'failed', 'resolved')),
    constraint a_reversal_is_never_negative check (amount >= 0),
    constraint a_reversal_is_settled_by_us_or_externally check (settled_by in ('us', 'external'))
);

-- A queued reversal waits for the reversal before it: Stripe would accept both, and reverse too much.
create unique index one_reversal_in_flight_per_transfer on transfer_reversals (transfer_id)
    where status = 'requested';
create unique index one_reversal_per_stripe_reversal on transfer_reversals (stripe_reversal_id)
    where stripe_reversal_id is not null and stripe_reversal_id <> '';
create index transfer_reversals_transfer_idx on transfer_reversals (transfer_id);
-- The age of the oldest reversal that is owed: read at every scrape of the metrics.
create index transfer_reversals_owed_idx on transfer_reversals (created_at) where status in ('queued', 'requested');
create index transfer_reversals_refund_idx on transfer_reversals (refund_id) where refund_id is not null;
-- Reversals that wait for a person, for the overview.
create index transfer_reversals_failed_idx on transfer_reversals (created_at) where status = 'failed';


create table orders (
    order_id           text        primary key,
    stream_id          uuid        not null constraint one_order_per_stream unique,
    currency           text        not null,
    amount             bigint      not null,
    refunded           bigint      not null,
    collected          bigint,
    status             text        not null,
    payment_id         text,
    source_transaction text,
    shares             jsonb       not null,
    connector_payment  text,
    last_error         text,
    version            bigint      not null,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    -- The charge of a paid order is read at Stripe: work like a refund, due at a time, and leased to one worker.
    retry_count        integer     not null default 0,
    next_retry_at      timestamptz,
    leased_by          text,
    leased_until       timestamptz,

    constraint an_order_has_a_known_status check (status in ('open', 'paid')),
    constraint an_order_is_never_negative check (amount >= 0),
    constraint refunds_never_exceed_the_order check (0 <= refunded and refunded <= coalesce(collected, amount)),
    constraint a_paid_order_has_collected_its_amount check (collected >= amount),
    constraint only_the_charge_of_a_paid_order_is_read check (
        next_retry_at is null or (status = 'paid' and connector_payment is not null)),
    constraint an_order_is_leased_to_one_worker_until_a_time check ((leased_by is null) = (leased_until is null))
);

-- Neither index is unique: one payment may pay several orders, and so may the charge at Stripe.
create index orders_payment_idx on orders (payment_id) where payment_id is not null;
create index orders_charge_idx on orders (source_transaction) where source_transaction is not null;
-- The orders whose charge is read next.
create index orders_charge_due_idx on orders (next_retry_at) where next_retry_at is not null;
-- The poller asks the PSP about these orders: unpaid, with a known payment.
create index orders_unpaid_idx on orders (created_at) where status = 'open' and payment_id is not null;
-- Lists and searches of people.
create index orders_newest_idx on orders (created_at desc, order_id desc);
create index orders_open_idx on orders (created_at desc, order_id desc) where status = 'open';
create index orders_prefix_idx on orders (order_id text_pattern_ops);
create index orders_connector_payment_idx on orders (connector_payment) where connector_payment is not null;


create table refunds (
    stream_id     uuid        primary key,
    refund_id     text        not null constraint one_refund_per_refund_id unique,
    psp_refund_id text,
    order_id      text        not null,
    amount        bigint      not null,
    currency      text        not null,
    status        text        not null,
    reason        text,
    allocation    jsonb       not null,
    last_error    text,
    version       bigint      not null,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    -- A refund that the ledger requests at the PSP is work like a transfer: due at a time, and leased to one worker.
    retry_count   integer     not null default 0,
    next_retry_at timestamptz,
    leased_by     text,
    leased_until  timestamptz,

    constraint a_refund_has_a_known_status check (
        status in ('requested', 'submitted', 'succeeded', 'failed', 'review')),
    constraint a_refund_is_never_negative check (amount >= 0),
    constraint a_refund_under_way_has_its_next_retry_at check (
        (status in ('requested', 'submitted')) = (next_retry_at is not null)),
    constraint a_refund_is_leased_to_somebody_until_some_time check ((leased_by is null) = (leased_until is null))
);

-- One refund under all its names: the PSP's name leads to one refund of ours.
create unique index one_refund_per_psp_refund on refunds (psp_refund_id) where psp_refund_id is not null;
create index refunds_order_idx on refunds (order_id);
create index refunds_due_idx on refunds (next_retry_at) where next_retry_at is not null;
-- Lists and searches of people.
create index refunds_newest_idx on refunds (created_at desc, refund_id desc);
create index refunds_open_idx on refunds (created_at desc, refund_id desc)
    where status in ('requested', 'submitted', 'review');
create index refunds_prefix_idx on refunds (refund_id text_pattern_ops);


create table disputes (
    stream_id  uuid        primary key,
    dispute_id text        not null,
    provider   text        not null,
    order_id   text        not null,
    amount     bigint      not null,
    currency   text        not null,
    status     text        not null,
    withdrawn  boolean     not null,
    reinstated boolean     not null,
    reason     text,
    evidence_due_by timestamptz,           -- until then the provider wants evidence
    version    bigint      not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint one_dispute_per_provider_and_id unique (provider, dispute_id),
    constraint a_dispute_has_a_known_status check (
        status in ('opened', 'challenged', 'withdrawn', 'closed', 'lost', 'reinstated', 'won')),
    constraint a_dispute_is_about_money check (amount > 0)
);
create index disputes_order_idx on disputes (order_id);
create index disputes_newest_idx on disputes (created_at desc, dispute_id desc);
create index disputes_open_idx on disputes (created_at desc, dispute_id desc)
    where status in ('opened', 'challenged', 'withdrawn');


create table payouts (
    stream_id    uuid        primary key,
    payout_id    text        not null,
    account      text        not null,
    seller_ids   text[]      not null,
    amount       bigint      not null,
    currency     text        not null,
    status       text        not null,
    arrival_date timestamptz,
    last_error   text,
    version      bigint      not null,
    created_at   timestamptz not null,
    updated_at   timestamptz not null,

    constraint one_payout_per_account_and_id unique (account, payout_id),
    constraint a_payout_has_a_known_status check (
        status in ('pending', 'in_transit', 'paid', 'canceled', 'failed'))
);
create index payouts_seller_idx on payouts using gin (seller_ids);
create index payouts_id_idx on payouts (payout_id);


-- The pauses that people have set, one row per scope.
create table pauses (
    stream_id  uuid        primary key,
    scope      text        not null constraint one_switch_per_scope unique,
    paused     boolean     not null,
    actor      text,
    reason     text,
    lost_since timestamptz,
    version    bigint      not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint a_pause_names_its_actor_and_reason check (not paused or (actor is not null and reason is not null))
);


-- Decisions of people about differences between Stripe's books and ours. A difference without a decision has no row: each
-- reconciliation finds it again.
create table findings (
    stream_id          uuid        primary key,
    finding_id         text        not null constraint one_row_per_finding unique,
    kind               text        not null,
    status             text        not null,
    stripe_id          text        not null,
    stripe_transfer_id text        not null,
    transfer_id        uuid,
    reversal_id        text,
    at_risk            bigint      not null,
    currency           text        not null,
    detail             text        not null,
    actor              text,
    reason             text,
    version            bigint      not null,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,

    constraint a_finding_has_a_known_status check (status in ('noted', 'ignored', 'adopted')),
    constraint a_decision_names_its_actor_and_reason check (
        status = 'noted' or (actor is not null and reason is not null)),
    constraint what_is_at_risk_is_never_negative check (at_risk >= 0)
);
create index findings_newest_idx on findings (updated_at desc, finding_id desc);

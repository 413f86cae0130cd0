-- Read models: each row is the fold of exactly one stream, written in the transaction that stores its facts.
-- The constraints repeat the rules of the domain on purpose: a command that breaks one is refused at the door.

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
-- Room for lease updates on the same page: they change no indexed column, so no index grows by them.
with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

-- What workers look for. Three small indexes instead of one large: a settled transfer is in none of them.
create index seller_transfers_due_reversals_idx on seller_transfers (status, next_retry_at)
    where status = 'reversal_pending';
create index seller_transfers_due_failed_idx on seller_transfers (status, next_retry_at)
    where status = 'failed' and next_retry_at is not null;
create index seller_transfers_due_pending_idx on seller_transfers (status, next_retry_at)
    where status = 'pending' and next_retry_at is not null;

-- One object at Stripe settles one operation of ours.
create unique index one_transfer_per_stripe_transfer on seller_transfers (stripe_transfer_id)
    where stripe_transfer_id is not null and stripe_transfer_id <> '';
create unique index one_transfer_per_stripe_reversal on seller_transfers (stripe_reversal_id)
    where stripe_reversal_id is not null and stripe_reversal_id <> '';

-- What people list, newest first.
create index seller_transfers_newest_idx on seller_transfers (created_at desc, transfer_id desc);
create index seller_transfers_status_idx on seller_transfers (status, created_at desc, transfer_id desc);
create index seller_transfers_order_idx on seller_transfers (order_id);
create index seller_transfers_seller_idx on seller_transfers (seller_id, created_at desc, transfer_id desc);


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

    constraint a_reversal_has_a_known_status check (
        status in ('queued', 'requested', 'reversed', 'withdrawn', 'failed')),
    constraint a_reversal_is_never_negative check (amount >= 0),
    constraint a_reversal_is_settled_by_us_or_externally check (settled_by in ('us', 'external'))
);

-- A queued reversal waits for the one before it; Stripe would take two, and take back too much.
create unique index one_reversal_in_flight_per_transfer on transfer_reversals (transfer_id)
    where status = 'requested';
create unique index one_reversal_per_stripe_reversal on transfer_reversals (stripe_reversal_id)
    where stripe_reversal_id is not null and stripe_reversal_id <> '';
create index transfer_reversals_transfer_idx on transfer_reversals (transfer_id);
-- Since when the oldest reversal is owed: asked at every scrape of the metrics.
create index transfer_reversals_owed_idx on transfer_reversals (created_at) where status in ('queued', 'requested');
create index transfer_reversals_refund_idx on transfer_reversals (refund_id) where refund_id is not null;


create table orders (
    order_id           text        primary key,
    stream_id          uuid        not null constraint one_order_per_stream unique,
    currency           text        not null,
    amount             bigint      not null,
    refunded           bigint      not null,
    status             text        not null,
    payment_id         text,
    source_transaction text,
    shares             jsonb       not null,
    version            bigint      not null,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,

    constraint an_order_has_a_known_status check (status in ('open', 'paid')),
    constraint an_order_is_never_negative check (amount >= 0),
    constraint refunds_never_exceed_the_order check (0 <= refunded and refunded <= amount)
);

-- Not unique: one payment may pay several orders.
create index orders_payment_idx on orders (payment_id) where payment_id is not null;


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

    constraint a_refund_has_a_known_status check (
        status in ('requested', 'submitted', 'succeeded', 'failed', 'review')),
    constraint a_refund_is_never_negative check (amount >= 0)
);

-- One refund under all its names: the PSP's name leads to one refund of ours.
create unique index one_refund_per_psp_refund on refunds (psp_refund_id) where psp_refund_id is not null;
create index refunds_order_idx on refunds (order_id);

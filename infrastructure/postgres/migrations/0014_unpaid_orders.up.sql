-- What the poller asks the PSP for: orders that name a payment and are not paid. A paid order is not in it.
create index orders_unpaid_idx on orders (created_at) where status = 'open' and payment_id is not null;

drop table findings, pauses, payouts, disputes, refunds, orders, transfer_reversals, seller_transfers;

drop table refunds;
drop table orders;
drop table transfer_reversals;
drop table seller_transfers;

drop function ledger_append(json, json);

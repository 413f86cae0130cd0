drop function ledger_append(json, json), keep_findings(json);

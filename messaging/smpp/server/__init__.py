"""The SMSC that customers bind to: accepts their messages, and gives them their receipts.

`process` runs it. `listening`, `customers`, `batching` and `couriers` are the event loop's side;
`admission`, `sessions`, `taking`, `assembling`, `acting` and `owed` are the database's, called in
threads; `reading`, `writing` and `statuses` are pure.
"""

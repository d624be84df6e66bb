"""The rules about money and its records that the database itself keeps, each with its reverse.

docs/database.md lists them beside the constraints that the models state.
"""

from django.db import migrations

# A ledger row moves its organization's balance as it is inserted, so that the two cannot disagree.
LEDGER_MOVES_BALANCE = """
CREATE FUNCTION ledger_move_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts_balance SET micro = micro + NEW.amount
     WHERE organization_id = NEW.organization_id
    RETURNING micro INTO NEW.balance_after;
    IF NOT FOUND THEN
        INSERT INTO accounts_balance (organization_id, micro)
        VALUES (NEW.organization_id, NEW.amount)
        ON CONFLICT (organization_id) DO UPDATE SET micro = accounts_balance.micro + NEW.amount
        RETURNING micro INTO NEW.balance_after;
    END IF;
    -- Numbered anew under the balance's lock, so that ids follow the order of the changes.
    NEW.id := nextval('accounts_ledgerentry_id_seq');
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_move_balance BEFORE INSERT ON accounts_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION ledger_move_balance();
"""
LEDGER_MOVES_NOTHING = """
DROP TRIGGER ledger_move_balance ON accounts_ledgerentry;
DROP FUNCTION ledger_move_balance();
"""

# A balance changes in no other way: only within the ledger's trigger, which is one level deeper.
# A balance of 0 may be inserted, since it changes nothing.
BALANCE_ONLY_BY_LEDGER = """
CREATE FUNCTION balance_only_by_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 AND (TG_OP <> 'INSERT' OR NEW.micro <> 0) THEN
        RAISE EXCEPTION 'a balance changes only through its ledger'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN COALESCE(NEW, OLD);
END $$;
CREATE TRIGGER balance_only_by_ledger BEFORE INSERT OR UPDATE OR DELETE ON accounts_balance
    FOR EACH ROW EXECUTE FUNCTION balance_only_by_ledger();
"""
BALANCE_BY_ANYTHING = """
DROP TRIGGER balance_only_by_ledger ON accounts_balance;
DROP FUNCTION balance_only_by_ledger();
"""

# Rows of the ledger and of the audit log are written once: nobody changes or deletes them.
APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON accounts_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON accounts_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON accounts_auditentry
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON accounts_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""
CHANGEABLE = """
DROP TRIGGER audit_no_truncate ON accounts_auditentry;
DROP TRIGGER audit_append_only ON accounts_auditentry;
DROP TRIGGER ledger_no_truncate ON accounts_ledgerentry;
DROP TRIGGER ledger_append_only ON accounts_ledgerentry;
DROP FUNCTION refuse_change();
"""

# A balance is the hottest row of its organization. Pages that are a fifth full leave room to rewrite
# it in place, and its dead versions are vacuumed by their number, however many organizations exist.
BALANCE_REWRITTEN_IN_PLACE = """
ALTER TABLE accounts_balance SET (fillfactor = 20, autovacuum_vacuum_threshold = 100,
    autovacuum_vacuum_scale_factor = 0);
"""
BALANCE_AS_ANY_TABLE = """
ALTER TABLE accounts_balance RESET (fillfactor, autovacuum_vacuum_threshold,
    autovacuum_vacuum_scale_factor);
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [
        migrations.RunSQL(LEDGER_MOVES_BALANCE, LEDGER_MOVES_NOTHING),
        migrations.RunSQL(BALANCE_ONLY_BY_LEDGER, BALANCE_BY_ANYTHING),
        migrations.RunSQL(APPEND_ONLY, CHANGEABLE),
        migrations.RunSQL(BALANCE_REWRITTEN_IN_PLACE, BALANCE_AS_ANY_TABLE),
    ]

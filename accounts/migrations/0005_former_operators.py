"""Former operators stay "Support" in customers' audit logs, and balances cannot be truncated."""

from django.db import migrations, models

# As the ledger: TRUNCATE runs no trigger of a row.
_NO_TRUNCATE = """
CREATE TRIGGER balance_no_truncate BEFORE TRUNCATE ON accounts_balance
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_credit_changes")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="was_operator",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.RunSQL(
            "UPDATE accounts_user SET was_operator = true WHERE is_staff",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(
            _NO_TRUNCATE, "DROP TRIGGER balance_no_truncate ON accounts_balance"
        ),
    ]

import django.core.validators
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from imissive.core.countries import country_of_code

_CODES = "SELECT DISTINCT calling_code FROM messaging_campaign WHERE calling_code IS NOT NULL"
_FORWARD = "UPDATE messaging_campaign SET country = %s WHERE calling_code = %s"
# A draft whose columns were not chosen yet: the form would have proposed Saudi Arabia.
_UNCHOSEN = """
UPDATE messaging_campaign SET country = 'SA'
 WHERE calling_code IS NULL AND state = 'draft' AND text = '' AND columns <> '[]'
"""


def carry_over(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Give each campaign the main country of its calling code."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(_CODES)
        for (code,) in cursor.fetchall():
            cursor.execute(_FORWARD, [country_of_code(str(code)), code])
        cursor.execute(_UNCHOSEN)


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0004_sender_coding'),
    ]

    operations = [
        migrations.AddField(
            model_name='campaign',
            name='country',
            field=models.CharField(blank=True, db_default='', default='', max_length=2),
        ),
        migrations.RunPython(carry_over, migrations.RunPython.noop),
        # The column stays for the processes of the release before; the next release drops it.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField(
                    model_name='campaign',
                    name='calling_code',
                ),
            ],
        ),
        migrations.AlterField(
            model_name='smppaccount',
            name='country_code',
            field=models.CharField(blank=True, default='', help_text="Of national destinations (TON 2, or TON 0 without a code). Empty: the organization's default country.", max_length=3, validators=[django.core.validators.RegexValidator('^[1-9]\\d{0,2}$', '1 to 3 digits.')], verbose_name='country code'),
        ),
    ]

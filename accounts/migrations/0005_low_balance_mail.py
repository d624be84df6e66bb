from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_people_and_invitations"),
    ]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="low_balance_mail_due_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]

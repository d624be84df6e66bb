import django.db.models.deletion
from django.db import migrations, models

# The types of what was there before, and how its last attempt is told: it ended `duration_ms` after
# it began. What is under way keeps its place in the queue.
FILL = """
UPDATE webhooks_delivery delivery
   SET event_type = event.type,
       attempted_at = delivery.finished_at
                      - coalesce(delivery.duration_ms, 0) * interval '1 millisecond'
  FROM webhooks_event event
 WHERE event.id = delivery.event_id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('webhooks', '0003_more_event_types'),
    ]

    operations = [
        migrations.RemoveIndex(model_name='delivery', name='delivery_of_endpoint'),
        migrations.AddField(
            model_name='endpoint',
            name='paused_until',
            field=models.DateTimeField(blank=True, null=True, verbose_name='paused until'),
        ),
        migrations.AddField(
            model_name='endpoint',
            name='notice_due_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='event_type',
            field=models.CharField(choices=[('message.queued', 'Message Queued'), ('message.sent', 'Message Sent'), ('message.delivered', 'Message Delivered'), ('message.failed', 'Message Failed'), ('message.expired', 'Message Expired'), ('message.canceled', 'Message Canceled'), ('otp.verified', 'Otp Verified'), ('otp.failed', 'Otp Failed'), ('sender_id.approved', 'Sender Approved'), ('sender_id.rejected', 'Sender Rejected'), ('balance.low', 'Balance Low'), ('webhook.test', 'Webhook Test'), ('endpoint.disabled', 'Endpoint Disabled')], default='', max_length=40),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='delivery',
            name='holder',
            field=models.IntegerField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='attempted_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='signature',
            field=models.CharField(blank=True, default='', max_length=100),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(models.F('endpoint'), models.F('event_type'), models.F('id'), name='delivery_log'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(models.F('endpoint'), models.F('status'), models.F('event_type'), models.F('id'), condition=models.Q(('status__in', ['delivered', 'failed'])), name='delivery_log_ended'),
        ),
        migrations.CreateModel(
            name='FailedAttempt',
            fields=[
                ('pk', models.CompositePrimaryKey('delivery_id', 'number', blank=True, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveSmallIntegerField()),
                ('at', models.DateTimeField()),
                ('response_status', models.PositiveSmallIntegerField(null=True)),
                ('response_body', models.TextField()),
                ('error', models.CharField(max_length=200)),
                ('duration_ms', models.PositiveIntegerField()),
                ('delivery', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='failed_attempts', to='webhooks.delivery')),
            ],
        ),
    ]

"""The rules about messages that the database itself keeps, each with its reverse.

docs/database.md lists them beside the constraints that the models state.
"""

from django.db import migrations

# A one-time password stays in its message no longer than the carrier needs it, whichever code
# moves the message on.
MASK_TEXT = """
CREATE FUNCTION message_mask_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.text := NEW.masked_text;
    RETURN NEW;
END $$;
CREATE TRIGGER message_mask_text BEFORE UPDATE ON messaging_message
    FOR EACH ROW WHEN (NEW.masked_text <> '' AND NEW.text <> NEW.masked_text
                       AND NEW.status NOT IN ('scheduled', 'queued', 'sending'))
    EXECUTE FUNCTION message_mask_text();
"""
KEEP_TEXT = """
DROP TRIGGER message_mask_text ON messaging_message;
DROP FUNCTION message_mask_text();
"""

# Whichever code moves a message on, the receipts that its customer asked for over SMPP are owed from
# that moment: registered_delivery, SMPP 3.4, 5.2.17; 3 is reserved there, and success only in 5.0.
OWE_RECEIPTS = """
CREATE FUNCTION smpp_wants_receipt(registered smallint, status text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE status
           WHEN 'sent' THEN registered & 16 <> 0
           WHEN 'delivered' THEN registered & 3 IN (1, 3)
           WHEN 'failed' THEN registered & 3 IN (1, 2)
           WHEN 'expired' THEN registered & 3 IN (1, 2)
           WHEN 'canceled' THEN registered & 3 IN (1, 2)
           ELSE false END
$$;
CREATE FUNCTION smpp_owe_receipts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messaging_smppreceipt
           (account_id, submit_id, status, error_code, at, due_at, expires_at, attempts)
    SELECT s.account_id, s.id, NEW.status, NEW.error_code,
           COALESCE(NEW.final_at, NEW.sent_at, now()), now(),
           now() + a.receipt_hours * interval '1 hour', 0
      FROM messaging_smppsubmit s JOIN messaging_smppaccount a ON a.id = s.account_id
     WHERE s.message_id = NEW.id AND smpp_wants_receipt(s.registered_delivery, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER smpp_owe_receipts AFTER UPDATE ON messaging_message
    FOR EACH ROW WHEN (NEW.source = 'smpp' AND NEW.status IS DISTINCT FROM OLD.status
                       AND NEW.status NOT IN ('scheduled', 'queued', 'sending'))
    EXECUTE FUNCTION smpp_owe_receipts();
"""
OWE_NOTHING = """
DROP TRIGGER smpp_owe_receipts ON messaging_message;
DROP FUNCTION smpp_owe_receipts();
DROP FUNCTION smpp_wants_receipt(smallint, text);
"""

# The SMPP servers listen for a receipt that is owed. Several of one transaction are one notice.
NOTIFY_SERVERS = """
CREATE FUNCTION smpp_tell_receipt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('smpp_receipts', NEW.account_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER smpp_tell_receipt AFTER INSERT ON messaging_smppreceipt
    FOR EACH ROW EXECUTE FUNCTION smpp_tell_receipt();
"""
NOTIFY_NOBODY = """
DROP TRIGGER smpp_tell_receipt ON messaging_smppreceipt;
DROP FUNCTION smpp_tell_receipt();
"""

# Advertising goes to Saudi Arabia from 09:00 to 19:00 only. Operators may change it.
SAUDI_HOURS = """
INSERT INTO messaging_sendingrule (country, sender_suffix, opens, closes, time_zone, enabled)
VALUES ('SA', '-AD', '09:00', '19:00', 'Asia/Riyadh', true);
"""
NO_SAUDI_HOURS = """
DELETE FROM messaging_sendingrule WHERE country = 'SA' AND sender_suffix = '-AD';
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0001_initial")]
    operations = [
        migrations.RunSQL(MASK_TEXT, KEEP_TEXT),
        migrations.RunSQL(OWE_RECEIPTS, OWE_NOTHING),
        migrations.RunSQL(NOTIFY_SERVERS, NOTIFY_NOBODY),
        migrations.RunSQL(SAUDI_HOURS, NO_SAUDI_HOURS),
    ]

# One event by hand: its three headers, and its body as it came.
KEY=$(printf %s "${WEBHOOK_SECRET#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')
EXPECTED=$(printf %s "$WEBHOOK_ID.$WEBHOOK_TIMESTAMP.$BODY" \
  | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | base64)

# While a secret is being rotated there are two signatures.
case " $WEBHOOK_SIGNATURE " in
  *" v1,$EXPECTED "*) echo "genuine" ;;
  *) echo "forged"; exit 1 ;;
esac

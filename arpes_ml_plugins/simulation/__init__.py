"""Physics that makes data whose truth is known; nothing is trained here."""

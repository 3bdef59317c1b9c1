"""Letters to users over SMTP."""

from beamtime_handlers.clients.smtp_mail.mail import SmtpMail, build
from beamtime_handlers.clients.smtp_mail.settings import Settings

__all__ = ["Settings", "SmtpMail", "build"]

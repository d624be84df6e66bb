"""Models of users, who sign in by email address."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class UserManager(BaseUserManager["User"]):
    """Create and find users by email address, without regard to case."""

    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        """Create a user; the email address is stored in lower case."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        """Create an operator with all permissions in the admin."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in: a member of organizations, an operator (`is_staff`), or both."""

    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=120, blank=True)
    language = models.CharField(_("language"), max_length=8, default="en")
    time_zone = models.CharField(
        _("time zone"), max_length=40, blank=True, help_text=_("Empty: the browser's own.")
    )
    # The organization's name from the sign-up form. The organization is created at the first login,
    # which needs a verified address, so that anonymous visitors cannot create organizations.
    wanted_organization = models.CharField(max_length=120, blank=True, editable=False)
    is_staff = models.BooleanField(_("operator"), default=False)
    # Never reset: customers' audit logs show former operators as "Support", too.
    was_operator = models.BooleanField(default=False, db_default=False, editable=False)
    is_active = models.BooleanField(_("active"), default=True)
    date_joined = models.DateTimeField(_("date joined"), default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_any_case")]

    def __str__(self) -> str:
        return self.email

    def save(self, **named: Any) -> None:
        """Save, and mark a present operator as one permanently."""
        if self.is_staff and not self.was_operator:
            self.was_operator = True
            if named.get("update_fields") is not None:
                named["update_fields"] = {*named["update_fields"], "was_operator"}
        super().save(**named)

    def get_full_name(self) -> str:
        return self.name or self.email
